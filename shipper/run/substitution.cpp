#include "run/substitution.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "config/text.h"
#include "run/logging.h"

namespace walferry {
namespace {

Oversize policy_of(const OversizePlan& plan, Cause cause) {
    if (cause == Cause::too_large) return plan.oversize;
    switch (plan.unrenderable) {
        case Unrenderable::stop:
            return Oversize::stop;
        case Unrenderable::dead_letter:
            return Oversize::dead_letter;
        case Unrenderable::key_only:
            break;
    }
    return Oversize::key_only;
}

const char* name_of(Oversize policy) {
    switch (policy) {
        case Oversize::stop:
            return "stop";
        case Oversize::dead_letter:
            return "dead-letter";
        case Oversize::split:
            return "split";
        case Oversize::claim_check:
            return "claim-check";
        case Oversize::key_only:
            return "key-only";
    }
    return "";
}

bool needs_value(Oversize policy, Cause cause) {
    if (cause == Cause::bad_value) return false;
    return policy == Oversize::split || policy == Oversize::claim_check || policy == Oversize::dead_letter;
}

std::string table_of(const Unsendable& record) {
    return record.table.data() == nullptr ? std::string("a logical message")
                                          : fmt::format("table {}.{}", record.schema, record.table);
}

Error no_way_out(Oversize policy, const Unsendable& record, const std::string& why) {
    return {ErrorCode::kafka_message_too_large,
            fmt::format("A record of {} cannot be sent to topic {}, not even by the policy \"{}\"",
                        table_of(record), excerpt(record.topic), name_of(policy)),
            why,
            "Choose another policy for the table (docs/oversize.md), or raise the topic's max.message.bytes, "
            "and sink.max_message_size where it is set."};
}

std::string too_large_text(const OversizePlan& plan, size_t size) {
    return fmt::format("The message has {} bytes, topic {} takes {}", size, plan.topic, plan.limit);
}

std::string text_of(const Error& error) {
    return error.why().empty() ? error.happened() : error.happened() + ": " + error.why();
}

}  // namespace

bool sets_aside(const OversizePlan& plan, Cause cause) {
    return policy_of(plan, cause) == Oversize::dead_letter;
}

Substitution::Substitution(const TaskConfig& config, const KafkaSink& sink, Counters& counters,
                           std::function<bool()> keep_going)
    : sink_(sink), counters_(counters), keep_going_(std::move(keep_going)) {
    const bool claims = config.sink.oversize == Oversize::claim_check ||
                        std::any_of(config.tables.begin(), config.tables.end(), [](const TableConfig& table) {
                            return table.oversize == Oversize::claim_check;
                        });
    if (claims) claims_.emplace(config.sink.claim_check_directory, config.name);
}

OversizePlan Substitution::plan(const Destination& destination) {
    OversizePlan plan{.oversize = destination.oversize,
                      .unrenderable = destination.unrenderable,
                      .topic = destination.topic,
                      .dead_letter_topic = destination.dead_letter_topic};
    if (plan.dead_letter_topic == plan.topic) {
        throw Error(ErrorCode::config_value,
                    "Topic " + excerpt(plan.topic) + " is a table's and that of dead letters too",
                    "A reader could not tell the records that were set aside from the others.",
                    "Choose another sink.dead_letter_topic.");
    }
    // Else the brokers decide, also about what stands in for a row that cannot be rendered.
    if (plan.oversize == Oversize::stop) return plan;
    const uint64_t wanted = destination.max_message_size.value;
    plan.limit = wanted == 0 ? asked_limit(plan.topic) : std::min<size_t>(wanted, largest_message(sink_));
    plan.room = plan.limit > kPlainEnvelope ? plan.limit - kPlainEnvelope : 0;
    if (plan.oversize == Oversize::split && limits_of(plan.topic).compacted) {
        log_warning("the topic is compacted: of a split record only the last chunk would stay",
                    {{"topic", plan.topic}, {"remedy", "set oversize = \"claim-check\" for its tables"}});
    }
    return plan;
}

const TopicLimits& Substitution::limits_of(const std::string& topic) {
    const auto found = limits_.find(topic);
    if (found != limits_.end()) return found->second;
    return limits_.emplace(topic, describe_limits(sink_, topic, keep_going_)).first->second;
}

// What the topic itself says.
size_t Substitution::asked_limit(const std::string& topic) {
    const bool first = !limits_.contains(topic);
    const TopicLimits& limits = limits_of(topic);
    if (first && !limits.known) {
        log_warning("Kafka does not tell what the topic takes; its default is assumed",
                    {{"topic", topic},
                     {"max_message_bytes", limits.message_bytes},
                     {"remedy", "set sink.max_message_size, or allow DescribeConfigs on the topic"}});
    }
    if (first && limits.message_bytes < largest_batch(sink_)) {
        log_warning("batches may be larger than the topic takes",
                    {{"topic", topic},
                     {"max_message_bytes", limits.message_bytes},
                     {"remedy", "set sink.max_message_size to at most that"}});
    }
    return std::min(limits.message_bytes, largest_message(sink_));
}

std::vector<SubstituteMessage> Substitution::of_row(const OversizePlan& plan, const CanalJson& canal,
                                                    const PreparedRelation& prepared, const Row& row,
                                                    Cause cause, const Error* error, std::string_view key,
                                                    std::string_view position, std::string_view origin,
                                                    Output& value) {
    const bool truncate = row.operation == wire::Operation::Truncate;
    const Oversize policy = policy_of(plan, cause);
    const std::string explanation =
        error != nullptr ? text_of(*error) : too_large_text(plan, key.size() + value.size());
    Unsendable record{.cause = cause,
                      .schema = row.relation.schema,
                      .table = row.relation.table,
                      .topic = plan.topic,
                      .position = position,
                      .origin = origin,
                      .key = key,
                      .value = {},
                      .explanation = explanation};
    if (policy == Oversize::stop || truncate) {
        if (error != nullptr) throw Error(*error);
        throw no_way_out(policy, record, explanation);
    }
    const auto give_up = [&](const std::string& why) {
        if (error != nullptr) throw Error(*error);
        throw no_way_out(policy, record, why);
    };
    // With the time of the commit as the time of writing, the same change always gives the same bytes.
    if (needs_value(policy, cause)) {
        value.clear();
        const RenderStatus status = canal.render(prepared, row, row.commit_unix_ms, value);
        if (status.outcome == Rendered::message) record.value = value.view();
    } else if (cause == Cause::too_large) {
        record.value = value.view();
    }
    key_only_value_.clear();
    if (policy == Oversize::claim_check || policy == Oversize::key_only) {
        if (policy == Oversize::key_only && key.data() == nullptr)
            give_up("The row has no key, or it is not known. " + explanation);
        const Row keys = key_only_.of(row, prepared.key);
        const RenderStatus status = canal.render(prepared, keys, row.commit_unix_ms, key_only_value_);
        if (status.outcome != Rendered::message) give_up("Its key cannot be rendered");
    }
    return substitutes(plan, policy, record, key_only_value_.view());
}

std::vector<SubstituteMessage> Substitution::of_message(const OversizePlan& plan, Cause cause,
                                                        const Error* error, std::string_view prefix,
                                                        std::string_view content, std::string_view position,
                                                        std::string_view origin) {
    const Oversize policy = policy_of(plan, cause);
    if (policy == Oversize::stop) throw Error(*error);
    const std::string explanation =
        error != nullptr ? text_of(*error) : too_large_text(plan, prefix.size() + content.size());
    const Unsendable record{.cause = cause,
                            .schema = {},
                            .table = {},
                            .topic = plan.topic,
                            .position = position,
                            .origin = origin,
                            .key = prefix,
                            .value = content,
                            .explanation = explanation};
    constexpr std::string_view kNoContent = "";
    return substitutes(plan, policy, record, kNoContent);
}

std::vector<SubstituteMessage> Substitution::substitutes(const OversizePlan& plan, Oversize policy,
                                                         const Unsendable& record,
                                                         std::string_view key_only) {
    std::vector<SubstituteMessage> messages;
    size_t limit = plan.limit;
    switch (policy) {
        case Oversize::split:
            messages = chunk_messages(record, limit);
            if (messages.empty())
                throw no_way_out(policy, record, "Its key and headers leave no room for a value");
            ++counters_.split;
            break;
        case Oversize::claim_check: {
            const std::string path = claims_->store(record.position, record.value);
            messages.push_back(claim_message(record, key_only, path));
            ++counters_.claim_checks;
            break;
        }
        case Oversize::key_only:
            messages.push_back(key_only_message(record, key_only));
            ++counters_.key_only;
            break;
        default:
            limit = asked_limit(plan.dead_letter_topic);
            messages.push_back(dead_letter_message(record, limit));
            ++counters_.dead_letters;
            break;
    }
    for (const SubstituteMessage& message : messages) {
        const size_t size = message_size(message, record.origin);
        if (size <= limit) continue;
        throw no_way_out(policy, record,
                         fmt::format("What stands in its place has {} bytes itself, and {} are allowed; "
                                     "the key has {} of them",
                                     size, limit, message.key.size()));
    }
    note(policy, record, messages.size());
    return messages;
}

void Substitution::note(Oversize policy, const Unsendable& record, size_t messages) {
    uint64_t suppressed = 0;
    if (!log_.pass(LogLimiter::Clock::now(), suppressed)) return;
    log_warning("a record could not be sent as it is", {{"policy", name_of(policy)},
                                                        {"code", code_of(record.cause)},
                                                        {"why", record.explanation},
                                                        {"schema", record.schema},
                                                        {"table", record.table},
                                                        {"topic", record.topic},
                                                        {"position", record.position},
                                                        {"value_bytes", record.value.size()},
                                                        {"messages", messages},
                                                        {"more_not_logged", suppressed}});
}

}  // namespace walferry
