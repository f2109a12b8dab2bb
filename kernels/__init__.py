"""What is computed and by which kernel: problems, configurations, spaces and the kernel families."""
