"""What a folder of one's own needs: class lists, splits, path templates."""
