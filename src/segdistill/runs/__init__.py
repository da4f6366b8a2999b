"""What a run writes: its folder, its journal, its saved states."""
