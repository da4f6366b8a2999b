"""Files of labelling tools, one reader each: shapes in pixels that make an index mask of each image."""
