// llama.cpp reports what it allocates only in C++. This wraps that in C functions.
//
// The types are those of llama.cpp's src/llama-ext.h and tools/mtmd/mtmd.h in the version that Cargo.toml pins;
// these headers are not installed with its crate.

#include <cstddef>
#include <cstdint>
#include <map>

struct llama_context;
struct ggml_backend_buffer_type;
struct ggml_backend_device;

struct llama_memory_breakdown_data {
    size_t model;
    size_t context;
    size_t compute;
};

std::map<ggml_backend_buffer_type *, llama_memory_breakdown_data> llama_get_memory_breakdown(
    const struct llama_context * ctx);

struct mtmd_context_params {
    bool use_gpu;
    ggml_backend_device * device;
    bool print_timings;
    int n_threads;
    const char * image_marker;
    const char * media_marker;
    int flash_attn_type;
    bool warmup;
    int image_min_tokens;
    int image_max_tokens;
    void * cb_eval;
    void * cb_eval_user_data;
    int32_t batch_max_tokens;
    void * progress_callback;
    void * progress_callback_user_data;
};

struct mtmd_memory_usage {
    std::map<ggml_backend_device *, size_t> backend_mem_usage;
    int image_max_tokens;
    bool use_non_causal;
};

mtmd_memory_usage mtmd_get_memory_usage(const char * mmproj_fname, mtmd_context_params ctx_params);

// Calls `each` for every buffer type that the context, its model or its compute buffers use.
// Returns false if there is no memory for the answer.
extern "C" bool drover_context_memory(
    const llama_context * ctx,
    void (*each)(void * user_data, ggml_backend_buffer_type * type, size_t model, size_t context, size_t compute),
    void * user_data) {
    try {
        for (const auto & [type, bytes] : llama_get_memory_breakdown(ctx)) {
            each(user_data, type, bytes.model, bytes.context, bytes.compute);
        }
        return true;
    } catch (...) {
        return false;
    }
}

// Calls `each` for every device that a projector would use, without loading it.
// Returns false if libmtmd cannot read the file.
extern "C" bool drover_projector_memory(
    const char * path,
    const mtmd_context_params * params,
    size_t params_size,
    void (*each)(void * user_data, ggml_backend_device * device, size_t bytes),
    void * user_data) {
    if (params_size != sizeof(mtmd_context_params)) {
        return false;
    }
    try {
        for (const auto & [device, bytes] : mtmd_get_memory_usage(path, *params).backend_mem_usage) {
            each(user_data, device, bytes);
        }
        return true;
    } catch (...) {
        return false;
    }
}
