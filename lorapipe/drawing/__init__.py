"""Drawing with Pillow: text in any script, and sheets of pictures."""
