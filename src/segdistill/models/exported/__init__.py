"""Networks in exported files (.onnx, .xml, .pt2): what the files say of themselves, and what runs them."""
