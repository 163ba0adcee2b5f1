"""How the names of pictures end."""

READ = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".avif"})
NOT_READ = frozenset({".heic", ".heif", ".jxl", ".tif", ".tiff", ".psd", ".svg", ".jp2", ".dng", ".cr2", ".nef"})
"""Of pictures that are not read: their owner should be told, not left to wonder."""
