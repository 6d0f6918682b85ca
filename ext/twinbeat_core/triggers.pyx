"""What moves a group from state to state; the table that uses them is table.py."""
