"""Where data comes from: named sets, TensorFlow Datasets on disk, files."""
