#include "sink/errors.h"

#include <utility>

namespace walferry {
namespace {

std::string quoted(const std::string& name) {
    return "\"" + name + "\"";
}

std::string reason(rd_kafka_resp_err_t code, const std::string& detail) {
    std::string text = detail.empty() ? rd_kafka_err2str(code) : detail;
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text + " (" + rd_kafka_err2name(code) + ")";
}

std::string tool(const char* name, const SinkOptions& options) {
    return std::string(name) + " --bootstrap-server " + options.brokers;
}

std::string user(const SinkOptions& options) {
    const auto found = options.properties.find("sasl.username");
    return "User:" + (found == options.properties.end() ? std::string("NAME") : found->second);
}

Error topic_authorization(const std::string& topic, const std::string& why, const SinkOptions& options) {
    return Error(ErrorCode::kafka_topic_authorization, "Kafka refused access to topic " + quoted(topic), why,
                 "Allow it: " + tool("kafka-acls.sh", options) + " --add --allow-principal " + user(options) +
                     " --producer --topic " + topic);
}

Error cluster_authorization(const std::string& why, const SinkOptions& options) {
    return Error(ErrorCode::kafka_cluster_authorization,
                 "Kafka refused an operation that needs a right on the cluster", why,
                 "Allow it: " + tool("kafka-acls.sh", options) + " --add --allow-principal " + user(options) +
                     " --operation IdempotentWrite --cluster");
}

Error too_large(const std::string& why, const FailedMessage& message, const SinkOptions& options) {
    const std::string size = std::to_string(message.bytes);
    if (message.messages > 1) {
        return Error(ErrorCode::kafka_message_too_large,
                     "Topic " + quoted(message.topic) + " refused a batch of " +
                         std::to_string(message.messages) + " messages, the largest of " + size + " bytes",
                     why +
                         "; the limit of the topic (max.message.bytes) or of the broker (message.max.bytes) "
                         "applies to the compressed batch",
                     "Raise it: " + tool("kafka-configs.sh", options) + " --alter --topic " + message.topic +
                         " --add-config max.message.bytes=N, or make batches smaller than it: [sink.kafka] "
                         "\"batch.size\"");
    }
    return Error(
        ErrorCode::kafka_message_too_large,
        "A message of " + size + " bytes is too large for topic " + quoted(message.topic),
        why +
            "; limits are the topic's max.message.bytes, the broker's message.max.bytes (1048588 unless "
            "set) and the producer's own message.max.bytes",
        "Raise the topic's limit: " + tool("kafka-configs.sh", options) + " --alter --topic " +
            message.topic +
            " --add-config max.message.bytes=N; where [sink.kafka] sets "
            "\"message.max.bytes\", raise it there too; or choose in sink.oversize what is sent in place of "
            "such a "
            "message");
}

Error not_there(const std::string& why, const std::string& topic, const SinkOptions& options) {
    if (options.create_topics) {
        return Error(
            ErrorCode::kafka_topic_deleted, "Topic " + quoted(topic) + " is no longer there", why,
            "None needed: it is created again, and what it had not acknowledged is sent again; records "
            "that it held are gone with it");
    }
    return Error(
        ErrorCode::kafka_topic_missing, "Topic " + quoted(topic) + " does not exist",
        why + "; sink.create_topics is off (Kafka also hides a topic that the user may not describe)",
        "Create it: " + create_topic_command(options, topic) + ", or set create_topics = true");
}

Error refused_name(const std::string& why, const std::string& topic) {
    return Error(
        ErrorCode::kafka_topic_create, "Kafka refused the topic name " + quoted(topic), why,
        "Choose another name: sink.topic, or topic of the [[table]] entry; to Kafka '.' and '_' are the same "
        "when it compares names");
}

}  // namespace

std::string create_topic_command(const SinkOptions& options, const std::string& topic) {
    std::string command = tool("kafka-topics.sh", options) + " --create --topic " + topic;
    if (options.topic_partitions > 0) command += " --partitions " + std::to_string(options.topic_partitions);
    if (options.topic_replication > 0)
        command += " --replication-factor " + std::to_string(options.topic_replication);
    return command;
}

Error delivery_error(rd_kafka_resp_err_t code, const std::string& detail, const FailedMessage& message,
                     const SinkOptions& options) {
    const std::string why = reason(code, detail);
    switch (code) {
        case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
        case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
            return too_large(why, message, options);
        case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
        case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
        case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
            return not_there(why, message.topic, options);
        case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
            return topic_authorization(message.topic, why, options);
        case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
            return cluster_authorization(why, options);
        case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
            return Error(ErrorCode::kafka_topic_create,
                         "Kafka refused the topic name " + quoted(message.topic), why,
                         "Choose another name: sink.topic, or topic of the [[table]] entry");
        case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
        case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
            return Error(ErrorCode::kafka_delivery,
                         "Topic " + quoted(message.topic) + " has fewer in-sync replicas than it demands",
                         why, "Bring the missing brokers back, or lower min.insync.replicas of the topic");
        case RD_KAFKA_RESP_ERR__FATAL:
            return fatal_error(code, detail, options);
        default:
            return Error(ErrorCode::kafka_delivery,
                         "Topic " + quoted(message.topic) + " did not take a message", why,
                         "It is sent again from the last confirmed position; if this comes back, look at the "
                         "broker's log");
    }
}

Error fatal_error(rd_kafka_resp_err_t code, const std::string& detail, const SinkOptions& options) {
    const std::string why = reason(code, detail);
    if (code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED) return cluster_authorization(why, options);
    if (code == RD_KAFKA_RESP_ERR__AUTHENTICATION) return connection_error(code, detail, options);
    if (!options.transactional_id.empty()) return transaction_error(code, detail, options);
    return Error(ErrorCode::kafka_producer_fatal, "The Kafka producer cannot go on", why,
                 "None needed: a new producer takes over from the last confirmed position");
}

Error transaction_error(rd_kafka_resp_err_t code, const std::string& detail, const SinkOptions& options) {
    const std::string why = reason(code, detail);
    switch (code) {
        case RD_KAFKA_RESP_ERR__FENCED:
        case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
        case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
            return Error(
                ErrorCode::kafka_fenced,
                "Another shipper has taken this task over, or Kafka has ended a transaction that took "
                "too long",
                why + "; transactional id " + quoted(options.transactional_id),
                "None needed: what was not committed does not count, and whoever reads the slot sends "
                "it again. If no other shipper is at work, look for pauses longer than "
                "transaction.timeout.ms.");
        case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
            return Error(ErrorCode::kafka_transaction_authorization,
                         "Kafka refused the transactional id " + quoted(options.transactional_id), why,
                         "Allow it: " + tool("kafka-acls.sh", options) + " --add --allow-principal " +
                             user(options) + " --operation Write --operation Describe --transactional-id " +
                             options.transactional_id);
        case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
            return cluster_authorization(why, options);
        case RD_KAFKA_RESP_ERR__AUTHENTICATION:
        case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
            return connection_error(code, detail, options);
        default:
            return Error(
                ErrorCode::kafka_transaction, "A Kafka transaction failed", why,
                "None needed: what was not committed does not count and is sent again. If this comes "
                "back, look at the log of the brokers, for the topic __transaction_state.");
    }
}

Error compacted_topic_missing(const std::string& topic, const SinkOptions& options) {
    SinkOptions one = options;
    one.topic_partitions = 1;
    return Error(
        ErrorCode::kafka_topic_missing, "Topic " + quoted(topic) + " does not exist",
        "sink.create_topics is off (Kafka also hides a topic that the user may not describe); without "
        "it the task could not remember how far it has come",
        "Create it: " + create_topic_command(one, topic) +
            " --config cleanup.policy=compact, or set create_topics = true");
}

Error client_error(const std::string& detail) {
    if (rd_kafka_last_error() == RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE)
        return Error(
            ErrorCode::internal, "The system has no room for another Kafka client", detail,
            "Give the process more memory or more threads (ulimit -v, -u, the container's limits), and "
            "start again: nothing is lost.");
    return Error(ErrorCode::kafka_property, "The properties of [sink.kafka] do not go together", detail,
                 "Change or remove the ones it names");
}

Error read_authorization(const std::string& topic, const SinkOptions& options) {
    return Error(ErrorCode::kafka_topic_authorization,
                 "Kafka refused to let topic " + quoted(topic) + " be read",
                 "What a crash has left is found by reading the ends of the topics.",
                 "Allow it: " + tool("kafka-acls.sh", options) + " --add --allow-principal " + user(options) +
                     " --operation Read --operation Describe --topic " + topic);
}

Error connection_error(rd_kafka_resp_err_t code, const std::string& detail, const SinkOptions& options) {
    const std::string why = reason(code, detail);
    // OpenSSL's refusal of a certificate comes under this code too, depending on when it is noticed.
    if (code == RD_KAFKA_RESP_ERR__TRANSPORT && detail.find("SSL routines:") != std::string::npos)
        code = RD_KAFKA_RESP_ERR__SSL;
    switch (code) {
        case RD_KAFKA_RESP_ERR__AUTHENTICATION:
        case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
        case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
        case RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE:
            return Error(
                ErrorCode::kafka_authentication, "Kafka at " + options.brokers + " refused the login", why,
                "Check \"security.protocol\", \"sasl.mechanism\", \"sasl.username\" and \"sasl.password\" "
                "under [sink.kafka]");
        case RD_KAFKA_RESP_ERR__SSL:
            return Error(
                ErrorCode::kafka_tls, "The TLS connection to Kafka at " + options.brokers + " failed", why,
                "Check \"security.protocol\", \"ssl.ca.location\", the certificate's host names and its "
                "dates; the settings stand under [sink.kafka]");
        default:
            return Error(
                ErrorCode::kafka_unreachable, "No Kafka broker answers at " + options.brokers, why,
                "Check that the brokers run, that sink.brokers names them and that the network lets them "
                "through; a listener with TLS or SASL needs \"security.protocol\" under [sink.kafka], one "
                "without "
                "must not have it");
    }
}

Error create_error(rd_kafka_resp_err_t code, const std::string& detail, const std::string& topic,
                   const SinkOptions& options) {
    const std::string why = reason(code, detail);
    switch (code) {
        case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
            return Error(ErrorCode::kafka_topic_authorization,
                         "Topic " + quoted(topic) + " does not exist, and Kafka refused to create it", why,
                         "Create it: " + create_topic_command(options, topic) + ", or allow the creation: " +
                             tool("kafka-acls.sh", options) + " --add --allow-principal " + user(options) +
                             " --operation Create --topic " + topic);
        case RD_KAFKA_RESP_ERR__TIMED_OUT:
        case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
        case RD_KAFKA_RESP_ERR__TRANSPORT:
        case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
        case RD_KAFKA_RESP_ERR_NOT_CONTROLLER:
        case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
            return connection_error(code, detail, options);
        case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
            // So answers a controller that no broker has reported to yet: one copy is never too many.
            if (options.topic_replication == 1 || detail.find("currently fenced") != std::string::npos) {
                return Error(
                    ErrorCode::kafka_unreachable,
                    "Topic " + quoted(topic) + " cannot be created while Kafka has no broker for it", why,
                    "None needed where brokers have just been started; look into their logs if it lasts");
            }
            return Error(ErrorCode::kafka_topic_create, "Topic " + quoted(topic) + " cannot be created", why,
                         "Set sink.topic_replication to at most the number of brokers");
        case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
            return refused_name(why, topic);
        default:
            return Error(ErrorCode::kafka_topic_create, "Topic " + quoted(topic) + " cannot be created", why,
                         "Create it by hand: " + create_topic_command(options, topic) +
                             ", or choose another name: sink.topic, or topic of the [[table]] entry");
    }
}

}  // namespace walferry
