"""Scripts that complete the command line in a shell, made of its parsers so that they cannot differ from them.

All words stand in the script, so that a shell that completes need not wait for Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hisigma_zfit.console.flags import Once, Parser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

__all__ = ["SHELLS", "script"]

SHELLS = ("bash", "zsh", "fish")


@dataclass(frozen=True)
class _Command:
    """What can stand behind some words of commands.

    Attributes:
        path: These words.
        options: Every option.
        commands: Further commands with their help, or other words that there are.
    """

    path: tuple[str, ...]
    options: tuple[argparse.Action, ...]
    commands: dict[str, str]


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for a shell.

    Args:
        parser: That of the whole command line.
        shell: One of `SHELLS`.
    """
    commands = tuple(_commands(parser, ()))
    if shell == "fish":
        return _fish(parser.prog, commands)
    bash = _bash(parser.prog, commands)
    return bash if shell == "bash" else f"autoload -U +X bashcompinit && bashcompinit\n{bash}"


def _commands(parser: argparse.ArgumentParser, path: tuple[str, ...]) -> Iterator[_Command]:
    if isinstance(parser, Parser):
        parser.require_filled()
    actions = parser._actions  # noqa: SLF001 - argparse has no public name for them, and no other way
    inner: list[Any] = [action for action in actions if isinstance(action.choices, dict)]
    known = {name: sub for action in inner for name, sub in action.choices.items()}
    told = {own.dest: own.help or "" for action in inner for own in action._get_subactions()}  # noqa: SLF001
    options = tuple(action for action in actions if action.option_strings)
    words = [
        word for action in actions if not action.option_strings and action not in inner for word in _values(action)
    ]
    yield _Command(path, options, {name: told.get(name, "") for name in (*known, *words)})
    for name, sub in known.items():
        yield from _commands(sub, (*path, name))


def _values(action: argparse.Action) -> tuple[str, ...]:
    words = action.words if isinstance(action, Once) else ()
    return words or tuple(map(str, action.choices or ()))


def _bash(prog: str, commands: tuple[_Command, ...]) -> str:
    def case(pattern: str, action: str) -> str:
        return f"        {pattern}) {action} ;;"

    into = [
        case(f'"{" ".join(own.path)}:{name}"', f'command="{" ".join((*own.path, name))}"')
        for own in commands
        for name in own.commands
    ]
    values, words = [], []
    for own in commands:
        where = " ".join(own.path)
        for action in own.options:
            if action.nargs != 0:
                pattern = "|".join(f'"{where}:{flag}"' for flag in action.option_strings)
                values.append(case(pattern, f'words="{" ".join(_values(action))}"; known=1'))
        flags = [flag for action in own.options for flag in action.option_strings]
        words.append(case(f'"{where}:-"', f'words="{" ".join(flags)}"'))
        words.append(case(f'"{where}:"', f'words="{" ".join(own.commands)}"'))
    newline = "\n"
    return f"""# completion of {prog} for bash: eval "$({prog} completion bash)"
_{prog}() {{
    local cur="${{COMP_WORDS[COMP_CWORD]}}" prev="${{COMP_WORDS[COMP_CWORD-1]}}" command="" words="" known="" head="" i
    # bash takes --name=value for three words
    if [ "$cur" = "=" ]; then cur=""; elif [ "$prev" = "=" ]; then prev="${{COMP_WORDS[COMP_CWORD-2]}}"; fi
    # and zsh for one
    case "$cur" in --*=*) prev="${{cur%%=*}}"; head="$prev="; cur="${{cur#*=}}" ;; esac
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$command:${{COMP_WORDS[i]}}" in
{newline.join(into)}
        esac
    done
    case "$command:$prev" in
{newline.join(values)}
    esac
    if [ -z "$known" ]; then
        case "$command:${{cur:0:1}}" in
{newline.join(line for line in words if ':-"' in line)}
        *) case "$command:" in
{newline.join(line for line in words if ':-"' not in line)}
        esac ;;
        esac
    fi
    COMPREPLY=($(compgen -P "$head" -W "$words" -- "$cur"))
}}
# what none of the words fits is the name of a file
complete -o default -o bashdefault -F _{prog} {prog}
"""


def _fish(prog: str, commands: tuple[_Command, ...]) -> str:
    lines = [f"# completion of {prog} for fish: {prog} completion fish | source"]
    for own in commands:
        seen = "; and ".join(f"__fish_seen_subcommand_from {name}" for name in own.path)
        here = seen or "__fish_use_subcommand"
        for name, told in own.commands.items():
            without = f"{here}; and not __fish_seen_subcommand_from {' '.join(own.commands)}" if seen else here
            lines.append(f"complete -c {prog} -f -n '{without}' -a {name} -d {_quoted(told)}")
        for action in own.options:
            flags = " ".join(
                f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in action.option_strings
            )
            value = "" if action.nargs == 0 else " -r"
            value += f" -f -a {_quoted(' '.join(_values(action)))}" if _values(action) else ""
            lines.append(f"complete -c {prog} -n '{here}' {flags}{value} -d {_quoted(action.help or '')}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    plain = " ".join(text.replace("%%", "%").split())
    return "'" + plain.replace("\\", "\\\\").replace("'", "\\'") + "'"
