#include "attention_forward.cuh"
