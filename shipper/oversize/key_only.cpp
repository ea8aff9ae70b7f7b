#include "oversize/key_only.h"

namespace walferry {
namespace {

using wire::ValueState;
using wire::ValueView;

void keep(std::vector<ValueView>& kept, const ValueView* image, const Row& row,
          std::span<const uint16_t> key) {
    kept.assign(row.relation.columns.size(), ValueView{nullptr, 0, ValueState::unchanged});
    for (const uint16_t column : key) kept[column] = image[column];
}

}  // namespace

Row KeyOnly::of(const Row& row, std::span<const uint16_t> key) {
    keep(before_, row.before, row, key);
    keep(after_, row.after, row, key);
    return Row{.relation = row.relation,
               .operation = row.operation,
               .before = before_.data(),
               .after = after_.data(),
               .images = row.images,
               .commit_lsn = row.commit_lsn,
               .end_lsn = row.end_lsn,
               .xid = row.xid,
               .ordinal = row.ordinal,
               .commit_unix_ms = row.commit_unix_ms};
}

}  // namespace walferry
