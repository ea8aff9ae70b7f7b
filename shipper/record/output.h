// A growable run of bytes that renderers write into. It never fills what it has not written and never
// shrinks, so that one Output per thread serves every row without an allocation. Not synchronised: one user
// at a time.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>

namespace walferry {

class Output {
 public:
    Output() = default;
    ~Output() { std::free(data_); }
    Output(const Output&) = delete;
    Output& operator=(const Output&) = delete;
    Output(Output&& other) noexcept : data_(other.data_), size_(other.size_), capacity_(other.capacity_) {
        other.data_ = nullptr;
        other.size_ = other.capacity_ = 0;
    }
    Output& operator=(Output&& other) noexcept {
        if (this != &other) {
            std::free(data_);
            data_ = other.data_;
            size_ = other.size_;
            capacity_ = other.capacity_;
            other.data_ = nullptr;
            other.size_ = other.capacity_ = 0;
        }
        return *this;
    }

    // Makes room for `bytes` more and returns where they begin; the size changes with commit(). Throws
    // std::bad_alloc. Pointers into the output are invalid afterwards.
    char* reserve(size_t bytes) {
        if (capacity_ - size_ < bytes) grow(bytes);
        return data_ + size_;
    }

    // Ends the output at `end`, which lies in what the last reserve() gave.
    void commit(const char* end) { size_ = static_cast<size_t>(end - data_); }

    void append(const void* bytes, size_t count) {
        if (count == 0) return;
        std::memcpy(reserve(count), bytes, count);
        size_ += count;
    }
    void append(std::string_view text) { append(text.data(), text.size()); }
    void push_back(char c) {
        *reserve(1) = c;
        size_++;
    }

    // Forgets what lies from `size` on.
    void truncate(size_t size) { size_ = size; }
    void clear() { size_ = 0; }

    char* data() { return data_; }
    const char* data() const { return data_; }
    size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    std::string_view view() const { return {data_, size_}; }

 private:
    void grow(size_t bytes) {
        size_t wanted = size_ + bytes;
        if (wanted < bytes) throw std::bad_alloc();
        if (wanted < capacity_ * 2) wanted = capacity_ * 2;
        if (wanted < 1024) wanted = 1024;
        void* moved = std::realloc(data_, wanted);
        if (!moved) throw std::bad_alloc();
        data_ = static_cast<char*>(moved);
        capacity_ = wanted;
    }

    char* data_ = nullptr;
    size_t size_ = 0;
    size_t capacity_ = 0;
};

}  // namespace walferry
