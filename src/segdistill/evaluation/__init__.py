"""From networks to predictions, scores and costs."""
