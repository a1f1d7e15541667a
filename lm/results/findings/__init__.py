"""What the results show: data in, typed statements with their evidence out."""
