"""What training needs, whatever is learned."""
