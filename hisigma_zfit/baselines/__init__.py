"""The other ways that the method is compared with: cuts, classifiers, templates."""
