"""How a generated street scene comes about: a world, its backdrop, the objects in it, and the camera's picture."""
