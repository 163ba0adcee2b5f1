"""What makes and measures the repository; no part of the installed package."""
