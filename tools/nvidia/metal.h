// What naga's Metal text uses of Metal's library, for clang, which then compiles the text for NVIDIA's GPUs.

#pragma clang force_cuda_host_device begin

// Whose memory something is, the compiler finds out by itself.
#define device
#define thread
#define threadgroup
#define constant const

typedef unsigned int uint;
// Numbers of 16 bits that are read and written, and never computed with.
typedef __fp16 half;
#define INLINE inline __attribute__((always_inline))

namespace metal {

using ::uint;
typedef half half4 __attribute__((ext_vector_type(4)));
typedef float float2 __attribute__((ext_vector_type(2)));
typedef float float3 __attribute__((ext_vector_type(3)));
typedef float float4 __attribute__((ext_vector_type(4)));
typedef uint uint2 __attribute__((ext_vector_type(2)));
typedef uint uint3 __attribute__((ext_vector_type(3)));
typedef uint uint4 __attribute__((ext_vector_type(4)));
typedef int int2 __attribute__((ext_vector_type(2)));
typedef int int3 __attribute__((ext_vector_type(3)));
typedef int int4 __attribute__((ext_vector_type(4)));
// As vectors are compared to: 0 or -1.
typedef int4 bool4;

template <class V, class S> INLINE V make(S value) { V v = value; return v; }
template <class V, class A, class B> INLINE V make(A a, B b) { V v = {a, b}; return v; }
template <class V, class A, class B, class C> INLINE V make(A a, B b, C c) { V v = {a, b, c}; return v; }
template <class V, class A, class B, class C, class D> INLINE V make(A a, B b, C c, D d) { V v = {a, b, c, d}; return v; }
template <> INLINE float4 make<float4>(float3 a, float b) { float4 v = {a.x, a.y, a.z, b}; return v; }
template <> INLINE float4 make<float4>(float2 a, float2 b) { float4 v = {a.x, a.y, b.x, b.y}; return v; }
template <> INLINE bool4 make<bool4>(bool value) { bool4 v = value ? -1 : 0; return v; }
template <class V> INLINE V make() { V v = {}; return v; }

template <class T> INLINE T min(T a, T b) { return a < b ? a : b; }
template <class T> INLINE T max(T a, T b) { return a > b ? a : b; }
template <class T> INLINE T clamp(T value, T low, T high) { return min(max(value, low), high); }
template <class T> INLINE T select(T no, T yes, bool is) { return is ? yes : no; }
#define EACH(V, VALUE) V r; for (int i = 0; i < int(sizeof(V) / 4); i++) r[i] = VALUE; return r;
// One instruction, as the shading languages' own are.
INLINE float min(float a, float b) { return __builtin_fminf(a, b); }
INLINE float max(float a, float b) { return __builtin_fmaxf(a, b); }
INLINE uint4 min(uint4 a, uint4 b) { EACH(uint4, min(a[i], b[i])) }
INLINE uint4 max(uint4 a, uint4 b) { EACH(uint4, max(a[i], b[i])) }
INLINE float4 select(float4 no, float4 yes, bool4 is) { EACH(float4, is[i] ? yes[i] : no[i]) }
INLINE uint4 select(uint4 no, uint4 yes, bool4 is) { EACH(uint4, is[i] ? yes[i] : no[i]) }
INLINE int2 select(int2 no, int2 yes, int2 is) { EACH(int2, is[i] ? yes[i] : no[i]) }
INLINE bool any(bool4 is) { return is.x || is.y || is.z || is.w; }
INLINE bool all(bool4 is) { return is.x && is.y && is.z && is.w; }

INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
INLINE float4 fma(float4 a, float4 b, float4 c) { EACH(float4, __builtin_fmaf(a[i], b[i], c[i])) }
INLINE float abs(float x) { return __builtin_fabsf(x); }
INLINE float floor(float x) { return __nvvm_floor_f(x); }
INLINE float ceil(float x) { return __nvvm_ceil_f(x); }
INLINE float sqrt(float x) { return __nvvm_sqrt_approx_f(x); }
INLINE float rsqrt(float x) { return __nvvm_rsqrt_approx_f(x); }
INLINE float exp2(float x) { return __nvvm_ex2_approx_f(x); }
INLINE float log2(float x) { return __nvvm_lg2_approx_f(x); }
INLINE float exp(float x) { return __nvvm_ex2_approx_f(x * 1.44269504f); }
INLINE float log(float x) { return __nvvm_lg2_approx_f(x) * 0.69314718f; }
INLINE float4 exp(float4 x) { EACH(float4, exp(x[i])) }
INLINE float4 abs(float4 x) { EACH(float4, abs(x[i])) }

enum class mem_flags { mem_threadgroup };
INLINE void threadgroup_barrier(mem_flags) {
#ifdef __CUDA_ARCH__
    __syncthreads();
#endif
}

}  // namespace metal

template <class T, class U> INLINE T as_type(U u) { T t; __builtin_memcpy(&t, &u, sizeof t); return t; }
template <class V, class U> INLINE V converted(U u) { return __builtin_convertvector(u, V); }
// Of the vectors of 16 bits clang takes the bits for numbers.
template <> INLINE metal::float4 converted(metal::half4 u) { return {u.x, u.y, u.z, u.w}; }
template <> INLINE metal::half4 converted(metal::float4 u) { return {half(u.x), half(u.y), half(u.z), half(u.w)}; }
