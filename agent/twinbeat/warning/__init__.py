"""Early warning: figures that drift to their limits are told before they get there. It proposes, and never fences."""
