// A Vulkan driver that stands before another one: it writes down the grid of each dispatch, and how long it took.
//
//   cc -shared -fPIC -o /tmp/libdispatches.so benches/networks/dispatches.c -ldl
//   echo '{"file_format_version": "1.0.0", "ICD": {"library_path": "/tmp/libdispatches.so", "api_version": "1.1.0"}}' > /tmp/dispatches.json
//   DRIVER=/usr/lib/chromium/libvk_swiftshader.so DISPATCHES=/tmp/dispatches.txt VK_DRIVER_FILES=/tmp/dispatches.json PROGRAM …
//
// A line `submit` stands for each call that hands work to the device; the dispatches before it are those that were done by then.
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void (*Function)(void);
typedef void *Handle;

enum { MOST = 16384, POOL_INFO = 11, TIMESTAMPS = 2, TOP_OF_PIPE = 1, BOTTOM_OF_PIPE = 0x2000, IN_64_BITS = 1 };

static Function (*of_instance)(Handle, const char *);
static Function (*of_device)(Handle, const char *);
static void (*real_dispatch)(Handle, uint32_t, uint32_t, uint32_t);
static int (*real_submit)(Handle, uint32_t, const void *, Handle);
static Handle device, pool;
static FILE *out;
static struct { uint32_t grid[3]; int is_written; } dispatches[MOST];
static uint32_t count;

/// Writes down what is done and was not yet written.
static void write_done(void) {
  int (*results)(Handle, Handle, uint32_t, uint32_t, size_t, void *, uint64_t, uint32_t) =
      (void *)of_device(device, "vkGetQueryPoolResults");
  for (uint32_t i = 0; i < count; i++) {
    uint64_t times[2];
    if (dispatches[i].is_written || results(device, pool, 2 * i, 2, sizeof times, times, 8, IN_64_BITS) != 0) continue;
    uint32_t *grid = dispatches[i].grid;
    fprintf(out, "dispatch %u %u %u %.3f ms\n", grid[0], grid[1], grid[2], (times[1] - times[0]) / 1e6);
    dispatches[i].is_written = 1;
  }
  fflush(out);
}

static void dispatch(Handle commands, uint32_t x, uint32_t y, uint32_t z) {
  if (count == MOST) {
    real_dispatch(commands, x, y, z);
    return;
  }
  void (*reset)(Handle, Handle, uint32_t, uint32_t) = (void *)of_device(device, "vkCmdResetQueryPool");
  void (*stamp)(Handle, int, Handle, uint32_t) = (void *)of_device(device, "vkCmdWriteTimestamp");
  uint32_t i = count++, grid[3] = {x, y, z};
  memcpy(dispatches[i].grid, grid, sizeof grid);
  reset(commands, pool, 2 * i, 2);
  stamp(commands, TOP_OF_PIPE, pool, 2 * i);
  real_dispatch(commands, x, y, z);
  stamp(commands, BOTTOM_OF_PIPE, pool, 2 * i + 1);
}

static int submit(Handle queue, uint32_t submits, const void *infos, Handle fence) {
  write_done();
  fprintf(out, "submit\n");
  return real_submit(queue, submits, infos, fence);
}

/// Ours in the place of the driver's, for the two calls that are counted.
static Function wrapped(const char *name, Function real) {
  if (real && strcmp(name, "vkCmdDispatch") == 0) {
    real_dispatch = (void *)real;
    return (Function)dispatch;
  }
  if (real && strcmp(name, "vkQueueSubmit") == 0) {
    real_submit = (void *)real;
    return (Function)submit;
  }
  return real;
}

static Function device_function(Handle of, const char *name) {
  if (!pool) {
    struct { uint32_t type; const void *next; uint32_t flags; int kind; uint32_t count, statistics; } info = {
        POOL_INFO, NULL, 0, TIMESTAMPS, 2 * MOST, 0};
    int (*create)(Handle, const void *, const void *, Handle *) = (void *)of_device(of, "vkCreateQueryPool");
    create(of, &info, NULL, &pool);
    device = of;
  }
  return wrapped(name, of_device(of, name));
}

static Handle driver(void) {
  static Handle library;
  if (!library) {
    library = dlopen(getenv("DRIVER"), RTLD_NOW);
    out = fopen(getenv("DISPATCHES"), "w");
  }
  return library;
}

Function vk_icdGetInstanceProcAddr(Handle instance, const char *name) {
  of_instance = (void *)dlsym(driver(), "vk_icdGetInstanceProcAddr");
  Function real = of_instance(instance, name);
  if (strcmp(name, "vkGetDeviceProcAddr") != 0) return wrapped(name, real);
  of_device = (void *)real;
  return (Function)device_function;
}

int vk_icdNegotiateLoaderICDInterfaceVersion(uint32_t *version) {
  int (*real)(uint32_t *) = (void *)dlsym(driver(), "vk_icdNegotiateLoaderICDInterfaceVersion");
  // From the sixth on a driver exports another function besides.
  if (*version > 5) *version = 5;
  return real(version);
}
