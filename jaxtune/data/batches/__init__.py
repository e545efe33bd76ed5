"""From splits to what updates and evaluations see: a table on the device, batches, subsets, streams."""
