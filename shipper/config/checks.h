// Rules for single values. Each returns what is wrong with the text, as the rest of a sentence that begins
// with "it": "has a space in it". Nothing wrong: an empty string.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace walferry {

std::string check_task_name(std::string_view text);
std::string check_slot_name(std::string_view text);
std::string check_not_empty(std::string_view text);
std::string check_brokers(std::string_view text);
std::string check_topic_template(std::string_view text);
// The same, for what belongs to no table.
std::string check_message_topic_template(std::string_view text);
// The same, for what belongs to no database either.
std::string check_progress_topic_template(std::string_view text);
// As a topic template, or empty.
std::string check_optional_topic_template(std::string_view text);
std::string check_pattern(std::string_view text);
// A pattern without a leading `!`.
std::string check_positive_pattern(std::string_view text);

std::string check_optional_absolute_path(std::string_view text);

// The slot that a task has when it names none: lower case, `-` and `.` as `_`.
std::string slot_from_name(std::string_view name);

struct RefusedProperty {
    std::string_view name;  // "*_cb" stands for every name that ends so
    std::string_view reason;
};
std::span<const RefusedProperty> refused_kafka_properties();
// A librdkafka property that is not passed on as it is: the reason and what to use in its place. Empty:
// passed on.
std::string refused_kafka_property(std::string_view property);
// Whether the value of a librdkafka property must not be shown.
bool is_secret_kafka_property(std::string_view property);
// A connection string with each password replaced by ***.
std::string mask_dsn(std::string_view dsn);

}  // namespace walferry
