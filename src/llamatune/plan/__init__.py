"""What a run will need, known from the recipe and from shapes alone: memory, time, disk, energy. Without torch."""
