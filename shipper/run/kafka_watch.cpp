#include "run/kafka_watch.h"

#include <string>
#include <utility>

#include "run/logging.h"

namespace walferry {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kWorthALine{10};

Error commit_waits(const Pipeline& pipeline, milliseconds waits) {
    return {ErrorCode::kafka_commit_waits,
            "Kafka has not answered the commit of a transaction for " +
                std::to_string(std::chrono::duration_cast<seconds>(waits).count()) + " s",
            pipeline.sink().last_error(),
            "The commit is asked for again until retry.connection_window is over. If it goes on, look at the "
            "brokers, and whether the partitions of __transaction_state have leaders."};
}

}  // namespace

void KafkaWatch::look(const Pipeline& pipeline) {
    const milliseconds stalled = pipeline.stalled_for();
    if (stalled > window_) {
        throw Error(ErrorCode::kafka_window_over, "Kafka has acknowledged nothing for the whole retry window",
                    pipeline.sink().last_error(),
                    "Mend the connection to Kafka and start again: nothing is lost, the slot keeps what is "
                    "missing. The window is retry.connection_window.");
    }
    const milliseconds commit = pipeline.commit_waits_for();
    if (commit >= kWorthALine) {
        if (!std::exchange(commit_waits_, true)) log_warning(commit_waits(pipeline, commit));
    } else if (std::exchange(commit_waits_, false)) {
        log_info("kafka answers commits again");
    }
    const milliseconds messages = pipeline.sink().stalled_for();
    if (messages >= kWorthALine) {
        if (!std::exchange(waits_, true))
            log_warning("kafka acknowledges nothing; waiting",
                        {{"for_ms", messages.count()},
                         {"messages", pipeline.outstanding()},
                         {"brokers_up", pipeline.sink().brokers_up()},
                         {"last_error", pipeline.sink().last_error()}});
    } else if (std::exchange(waits_, false)) {
        log_info("kafka acknowledges again");
    }
}

}  // namespace walferry
