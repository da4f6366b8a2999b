"""The page: everything a study or a run found, as one HTML file that needs nothing else."""
