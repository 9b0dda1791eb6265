"""Training of a diffusion model on a folder of images."""
