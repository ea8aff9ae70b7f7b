// For std::unique_ptr of what librdkafka hands out.
#pragma once

namespace walferry {

template <auto Destroy>
struct Deleter {
    template <typename Object>
    void operator()(Object* object) const {
        Destroy(object);
    }
};

}  // namespace walferry
