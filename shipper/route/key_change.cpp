#include "route/key_change.h"

#include <algorithm>
#include <cstring>

#include "common/wire/frame.h"

namespace walferry {
namespace {

using wire::ValueState;
using wire::ValueView;

constexpr int kBeforeFlags =
    wire::kBefore | wire::kBeforeKeyOnly | wire::kBeforeNulls | wire::kBeforeUnchanged;
constexpr int kAfterFlags = wire::kAfter | wire::kAfterNulls | wire::kAfterUnchanged;

bool known(const ValueView& view) {
    return view.state == ValueState::value || view.state == ValueState::null;
}

bool same(const ValueView& a, const ValueView& b) {
    return a.state == b.state && a.size == b.size &&
           (a.size == 0 || std::memcmp(a.data, b.data, a.size) == 0);
}

Row half(const Row& row, wire::Operation operation, const ValueView* before, const ValueView* after,
         int flags) {
    return Row{.relation = row.relation,
               .operation = operation,
               .before = before,
               .after = after,
               .images = static_cast<uint8_t>(row.images & (flags | wire::kOversize)),
               .commit_lsn = row.commit_lsn,
               .end_lsn = row.end_lsn,
               .xid = row.xid,
               .ordinal = row.ordinal,
               .commit_unix_ms = row.commit_unix_ms};
}

}  // namespace

bool changes_key(const Row& row, std::span<const uint16_t> key) {
    if (row.operation != wire::Operation::Update || (row.images & wire::kBefore) == 0) return false;
    bool changed = false;
    for (const uint16_t column : key) {
        if (!known(row.before[column])) return false;
        // A value that was not logged has not changed.
        changed = changed || (known(row.after[column]) && !same(row.before[column], row.after[column]));
    }
    return changed;
}

Row KeyChange::deleted(const Row& row) {
    absent_.assign(row.relation.columns.size(), ValueView{});
    return half(row, wire::Operation::Delete, row.before, absent_.data(), kBeforeFlags);
}

Row KeyChange::inserted(const Row& row) {
    const size_t count = row.relation.columns.size();
    absent_.assign(count, ValueView{});
    after_.assign(row.after, row.after + count);
    for (size_t i = 0; i < count; ++i) {
        if (after_[i].state == ValueState::unchanged && known(row.before[i])) after_[i] = row.before[i];
    }
    return half(row, wire::Operation::Insert, absent_.data(), after_.data(), kAfterFlags);
}

}  // namespace walferry
