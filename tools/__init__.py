"""Developer tools that generate files and measure the code; not part of the installed package."""
