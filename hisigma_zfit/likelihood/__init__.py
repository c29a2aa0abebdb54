"""The numbers behind a likelihood: columns, terms, gradients and Hessians; numpy first."""
