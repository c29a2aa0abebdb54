"""Write the likelihood down."""
