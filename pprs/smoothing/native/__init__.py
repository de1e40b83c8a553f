"""The operations that torch lacks: in C for a CPU, built once, and in Triton for CUDA."""
