// Applies the policies of docs/oversize.md: decides what is sent in place of a record that cannot be sent as
// it is, counts it and says so in the log. oversize/ makes the messages, the pipeline sends them.
//
// Thread contract: one thread. Errors: Error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "config/task.h"
#include "error/error.h"
#include "format/canal_json.h"
#include "oversize/claim_check.h"
#include "oversize/key_only.h"
#include "oversize/substitutes.h"
#include "record/output.h"
#include "record/row.h"
#include "route/router.h"
#include "run/counters.h"
#include "sink/kafka_sink.h"
#include "sink/log_limiter.h"
#include "sink/topic_limits.h"

namespace walferry {

// What holds for the records of one table, or for logical messages.
struct OversizePlan {
    Oversize oversize = Oversize::stop;
    Unrenderable unrenderable = Unrenderable::stop;
    std::string topic;
    std::string dead_letter_topic;  // empty where it is not needed
    size_t limit = SIZE_MAX;        // of a message, headers included
    // Key, value and name of the origin of an ordinary message may take so much together: the one comparison
    // that each message costs.
    size_t room = SIZE_MAX;
};

// Whether what stands in place of such a record goes to the dead-letter topic.
bool sets_aside(const OversizePlan& plan, Cause cause);

class Substitution {
 public:
    // `sink`, one of the task's producers, and `counters` must live longer. `keep_going` is called now and
    // then while Kafka is asked; false gives up (source_stopped). Throws Error (config_value) when the
    // claim-check directory cannot be used.
    Substitution(const TaskConfig& config, const KafkaSink& sink, Counters& counters,
                 std::function<bool()> keep_going);

    // The topic of `destination` exists: it may be asked what it takes. So has that of dead letters to when
    // of_row() or of_message() is called for a record that goes there.
    OversizePlan plan(const Destination& destination);

    // What is sent for a row. `prepared` and `key` are those of the message that it would be; `error` is
    // thrown where the policy is `stop`, null for too_large. The messages have views into `key` and `value`,
    // which is written anew, and are valid until the next call.
    std::vector<SubstituteMessage> of_row(const OversizePlan& plan, const CanalJson& canal,
                                          const PreparedRelation& prepared, const Row& row, Cause cause,
                                          const Error* error, std::string_view key, std::string_view position,
                                          std::string_view origin, Output& value);
    // The same of a logical message, whose prefix is the key; `content` is null if the plugin left it out.
    std::vector<SubstituteMessage> of_message(const OversizePlan& plan, Cause cause, const Error* error,
                                              std::string_view prefix, std::string_view content,
                                              std::string_view position, std::string_view origin);

 private:
    std::vector<SubstituteMessage> substitutes(const OversizePlan& plan, Oversize policy,
                                               const Unsendable& record, std::string_view key_only);
    const TopicLimits& limits_of(const std::string& topic);
    size_t asked_limit(const std::string& topic);
    void note(Oversize policy, const Unsendable& record, size_t messages);

    const KafkaSink& sink_;
    Counters& counters_;
    std::function<bool()> keep_going_;
    std::optional<ClaimCheck> claims_;
    std::unordered_map<std::string, TopicLimits> limits_;
    KeyOnly key_only_;
    Output key_only_value_;
    LogLimiter log_;
};

}  // namespace walferry
