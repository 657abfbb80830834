//! Compiles the few functions of llama.cpp's C++ interface that its C interface lacks.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "llama")]
    {
        const SOURCE: &str = "src/engine/backend/llama/memory.cpp";
        println!("cargo::rerun-if-changed={SOURCE}");
        cc::Build::new()
            .cpp(true)
            .std("c++17")
            .file(SOURCE)
            .compile("drover_memory");
    }
}
