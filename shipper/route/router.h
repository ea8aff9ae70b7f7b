// Decides, once for each relation, where its rows go: topic, message key, partition policy, operations.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/match/pattern.h"
#include "config/task.h"
#include "error/error.h"
#include "record/relation_schema.h"
#include "route/topic_template.h"

namespace walferry {

struct Destination {
    std::string topic;
    std::string ddl_topic;         // of truncates
    std::vector<std::string> key;  // columns of the message key; empty: the relation's own key
    Operations operations;
    KeyChanges key_change = KeyChanges::update;
    Oversize oversize = Oversize::stop;
    Unrenderable unrenderable = Unrenderable::stop;
    Bytes max_message_size;         // 0: the topic is asked
    std::string dead_letter_topic;  // empty where neither policy needs it
};

class Router {
 public:
    // Throws Error for a template or pattern that is not valid. `config` must live longer.
    Router(const TaskConfig& config);

    // Whether two tables never get the same topic by accident.
    bool distinguishes_tables() const { return topic_.distinguishes_tables(); }

    // `database` is the source's. Throws Error (topic_name).
    Destination route(const RelationSchema& relation, const std::string& database) const;

 private:
    struct Rule {
        const TableConfig* table;
        TablePattern pattern;
        std::optional<TopicTemplate> topic;
    };

    const TaskConfig& config_;
    TopicTemplate topic_;
    std::optional<TopicTemplate> ddl_topic_;
    TopicTemplate dead_letter_topic_;
    std::vector<Rule> rules_;
};

}  // namespace walferry
