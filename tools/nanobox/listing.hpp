#pragma once

#include <functional>
#include <string>

#include <rapidjson/document.h>

#include "config/error.hpp"
#include "tools/nanobox/api_client.hpp"

namespace nanobox::cli {

/// Calls `each` with every item of a list, page by page. @param path  with a query or without
Result<void> each_item(ApiClient& client, const std::string& path,
                       const std::function<void(const rapidjson::Value&)>& each);

/// Every item of a list as the server's list object of one page.
Result<std::string> whole_list(ApiClient& client, const std::string& path);

}  // namespace nanobox::cli
