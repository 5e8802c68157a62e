"""The attack playground: two narrow MedDefs, their gradients as ONNX graphs, and the page of the book that runs them."""
