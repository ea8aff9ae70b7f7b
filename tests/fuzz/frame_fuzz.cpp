// libFuzzer harness of the frame reader: any bytes, first as they are, then with the checksum made right,
// since a fuzzer does not find a checksum by itself.
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "common/wire/frame_writer.h"
#include "tests/fuzz/frame_walk.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace walferry::wire;
    // Memory of exactly the frame's size, one byte into the block: the flatbuffer lies on a multiple of 8.
    auto* block = static_cast<uint8_t*>(malloc(1 + size));
    if (!block) abort();
    uint8_t* frame = block + 1;
    if (size) memcpy(frame, data, size);
    volatile uint64_t digest = test::walk_frame(frame, size).digest;
    if (size >= kHeaderSize) {
        seal(frame, size);
        digest = test::walk_frame(frame, size).digest;
    }
    (void)digest;
    free(block);
    return 0;
}
