"""What PromQL does with native histograms, for whole columns of them at once."""
