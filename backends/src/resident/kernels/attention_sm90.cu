#include "attention_delta.cuh"
#include "attention_forward.cuh"
#include "attention_key_value.cuh"
#include "attention_query.cuh"
