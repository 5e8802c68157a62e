"""The attack playground: two narrow MedDefs, their gradients as ONNX graphs, and the book's page that runs them."""
