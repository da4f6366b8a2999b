"""Networks of other libraries: any nn.Module, Hugging Face, segmentation_models_pytorch, torchvision."""
