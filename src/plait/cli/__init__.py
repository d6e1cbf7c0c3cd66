"""The two programs: plaitd runs, plait looks after what runs."""
