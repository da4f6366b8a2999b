"""Which method is worth it? The same student, alone and with every method, over seeds, at equal cost."""
