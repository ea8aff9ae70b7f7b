// WALFERRY_FAIL_POINT("name"); marks a place where a test can make the process fail: see fail_plan.h. A name
// that fail_points.def lacks does not compile, in a release build either, where the macro comes to nothing.
#pragma once

#include <cstddef>
#include <iterator>
#include <string_view>
#include <type_traits>

namespace walferry {

struct FailPoint {
    std::string_view name;
    unsigned hits;  // the fault comes at one of this many
    std::string_view where;
};

inline constexpr FailPoint kFailPoints[] = {
#define WF_FAIL_POINT(name, hits, where) {#name, hits, where},
#include "fail_point/fail_points.def"
#undef WF_FAIL_POINT
};
inline constexpr size_t kFailPointCount = std::size(kFailPoints);

// The point's place in kFailPoints; kFailPointCount if there is none of the name.
constexpr size_t find_fail_point(std::string_view name) {
    for (size_t i = 0; i < kFailPointCount; ++i) {
        if (kFailPoints[i].name == name) return i;
    }
    return kFailPointCount;
}

template <size_t number>
struct KnownFailPoint : std::integral_constant<size_t, number> {
    static_assert(number < kFailPointCount, "fail_points.def lacks the name");
};

// Follows the plan in $WALFERRY_FAIL_POINTS. Any thread may call it. Throws Error where the plan says so, and
// ErrorCode::usage if the plan cannot be read.
void hit_fail_point(size_t number);

}  // namespace walferry

#ifdef WALFERRY_FAIL_POINTS
#define WALFERRY_FAIL_POINT(name) \
    ::walferry::hit_fail_point(::walferry::KnownFailPoint<::walferry::find_fail_point(name)>::value)
#else
#define WALFERRY_FAIL_POINT(name) \
    static_cast<void>(::walferry::KnownFailPoint<::walferry::find_fail_point(name)>::value)
#endif
