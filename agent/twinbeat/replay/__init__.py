"""What recordings of real agents tell afterwards: why a decision fell, and which timing the links would bear."""
