#include <nlohmann/json.hpp>

#include "config/load.h"

namespace walferry {

std::string plugin_options_json(const SourceConfig& source) {
    nlohmann::ordered_json options;
    options["version"] = 1;
    if (!source.tables.empty()) options["tables"] = source.tables;
    if (source.operations != Operations()) {
        auto& names = options["operations"] = nlohmann::ordered_json::array();
        if (source.operations.insert) names.push_back("insert");
        if (source.operations.update) names.push_back("update");
        if (source.operations.remove) names.push_back("delete");
        if (source.operations.truncate) names.push_back("truncate");
    }
    if (source.publish_via_root) options["publish_via_root"] = true;
    if (source.origin == Origin::none) options["origin"] = "none";
    const auto by_prefix = [&options](const char* name, const ByPrefix& chosen) {
        if (!chosen.prefixes.empty()) {
            options[name] = chosen.prefixes;
        } else if (chosen.all) {
            options[name] = true;
        }
    };
    by_prefix("messages", source.messages);
    if (source.streaming) options["streaming"] = true;
    by_prefix("two_phase", source.two_phase);
    return options.dump();
}

}  // namespace walferry
