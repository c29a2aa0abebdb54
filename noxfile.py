"""Sessions for developers: `nox` runs lint, imports, types and tests, each in an environment of its own."""

import nox

nox.options.sessions = ["lint", "imports", "types", "tests"]


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests and the examples in docstrings."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """Run the tests that are left out otherwise: independent slow paths, one page of the documentation."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", "-m", "slow", *session.posargs)


@nox.session
def doctests(session: nox.Session) -> None:
    """Run the examples in docstrings alone."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", "hisigma_zfit", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site of the documentation, notebooks executed; warnings are errors."""
    session.install(".[docs]")
    session.run("sphinx-build", "-W", "-b", "html", "docs", "runs/site", env={"HISIGMA_DOCS_EXECUTE": "1"})


@nox.session
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest versions that pyproject.toml allows of all that it names."""
    session.install("uv")
    session.run("python", "-m", "uv", "pip", "install", "--resolution", "lowest-direct", ".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    session.install("ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def imports(session: nox.Session) -> None:
    """Check the floors of the house."""
    session.install(".", "import-linter")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Check types."""
    session.install(".[dev]")
    session.run("mypy")
